use serde::Deserialize;

/// Keys of movers that read row events; a program's own keys stand beside them in a
/// [`Both`](skytools::config::Both).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RowConfig {
    /// Encoding of the databases whose triggers wrote the rows, as the server names it; that of `src_db`
    /// unless the queue has come from elsewhere.
    pub(super) source_encoding: Option<String>,
    /// What becomes of text that is not of that encoding: `fail` (the event is a bad one) or `replace`.
    #[serde(default)]
    pub(super) encoding_errors: EncodingErrors,
    /// What becomes of events that cannot be applied: `fail`, `skip` or `quarantine`.
    #[serde(default)]
    pub(super) bad_event: BadEvent,
    /// How many events of a batch may be such because the target refuses their rows; with more the batch
    /// waits, as it does with any by default.
    #[serde(default)]
    pub(super) bad_row_limit: usize,
    /// Table of `dst_db` that takes them; default: `pgq_ext.bad_event`.
    pub(super) quarantine_table: Option<String>,
}

/// What becomes of text that is not of the encoding it should be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EncodingErrors {
    /// The event is a bad one.
    #[default]
    Fail,
    /// What cannot be read becomes U+FFFD.
    Replace,
}

/// What becomes of events that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BadEvent {
    /// The batch waits.
    #[default]
    Fail,
    /// They are left out, counted and logged.
    Skip,
    /// They are put aside in a table of the target.
    Quarantine,
}
