use clap::Parser;
use pgq::mover::MoverArgs;
use skytools::app::{CommonArgs, Program, Service};

/// Move the events of one queue into another
///
/// The configuration names the queues and their databases. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "queue_mover", infer_long_args = true)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) mover: MoverArgs,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "queue_mover",
        sections: &["queue_mover", "queue_mover3"],
        sample: include_str!("../../../examples/queue_mover.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
