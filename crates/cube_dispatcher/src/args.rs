use clap::Parser;
use pgq::mover::MoverArgs;
use skytools::app::{CommonArgs, Program, Service};

/// Keep the rows of many tables in copies of them, one for each period
///
/// The period is that of the batch: a table of its own for each day, month or so, with the latest state of each row
/// that changed in it, or with all of them. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "cube_dispatcher", infer_long_args = true)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) mover: MoverArgs,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "cube_dispatcher",
        sections: &["cube_dispatcher"],
        sample: include_str!("../../../examples/cube_dispatcher.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
