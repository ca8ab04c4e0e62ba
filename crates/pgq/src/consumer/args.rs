/// Options of every consumer; each runs instead of the work loop.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct ConsumerArgs {
    /// Register the consumer on its queue, then exit
    #[arg(long, conflicts_with = "unregister")]
    pub register: bool,
    /// Remove the consumer from its queue, then exit
    #[arg(long)]
    pub unregister: bool,
}

/// Options of a consumer that keeps its position at the target.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct SerialArgs {
    /// Register and unregister
    #[command(flatten)]
    pub consumer: ConsumerArgs,
    /// Move the consumer to the position stored at the target, then exit
    #[arg(long, conflicts_with_all = ["register", "unregister", "reset"])]
    pub rewind: bool,
    /// Forget the position stored at the target, then exit
    #[arg(long, conflicts_with_all = ["register", "unregister"])]
    pub reset: bool,
}
