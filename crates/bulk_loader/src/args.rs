use clap::Parser;
use pgq::mover::MoverArgs;
use skytools::app::{CommonArgs, Program, Service};

/// Apply the row events of a queue to tables, in bulk
///
/// The changes of a row in a batch become one. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "bulk_loader", infer_long_args = true)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) mover: MoverArgs,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "bulk_loader",
        sections: &["bulk_loader", "bulk_loader3"],
        sample: include_str!("../../../examples/bulk_loader.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
