use clap::Parser;
use pgq::mover::MoverArgs;
use skytools::app::{CommonArgs, Program, Service};

/// Append the rows of a queue to a table
///
/// Each event is one row; a date in it can choose the partition. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "table_dispatcher", infer_long_args = true)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) mover: MoverArgs,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "table_dispatcher",
        sections: &["table_dispatcher"],
        sample: include_str!("../../../examples/table_dispatcher.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
