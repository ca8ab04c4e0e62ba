use crate::consumer::SerialArgs;

/// Options of every mover, beside the common ones.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct MoverArgs {
    #[command(flatten)]
    pub(super) serial: SerialArgs,
    /// Apply one batch, show what it does at the target and undo it
    #[arg(long, conflicts_with_all = ["register", "unregister", "rewind", "reset"])]
    pub(super) dry_run: bool,
}
