use clap::Parser;
use pgq::mover::MoverArgs;
use skytools::app::{CommonArgs, Program, Service};

/// Spread the events of one queue over many
///
/// A field of each event names its queue. See `--ini` for a sample.
#[derive(Debug, Parser)]
#[command(name = "queue_splitter", infer_long_args = true)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pub(crate) mover: MoverArgs,
}

impl Program for Args {
    const SERVICE: Service = Service {
        name: "queue_splitter",
        sections: &["queue_splitter", "queue_splitter3"],
        sample: include_str!("../../../examples/queue_splitter.ini"),
    };

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
