use serde::Deserialize;
use skytools::config::{Both, CommonConfig};
use skytools::conninfo::ConnInfo;

use crate::Error;
use crate::consumer::ConsumerConfig;

/// All keys of a mover beside the common ones: of its consumer, of its databases, its own.
pub type MoverConfig<C> = Both<ConsumerConfig, Both<Databases, C>>;

/// The databases of a mover.
#[derive(Debug, Clone, Deserialize)]
pub struct Databases {
    /// Connect string of the database with the queue.
    src_db: String,
    /// Connect string of the database that the batches are applied in; it has the schema `pgq_ext`.
    dst_db: String,
}

impl Databases {
    /// How to connect to the source.
    pub(super) fn source(&self, common: &CommonConfig) -> Result<ConnInfo, Error> {
        parse("src_db", &self.src_db, common)
    }

    /// How to connect to the target.
    pub(super) fn target(&self, common: &CommonConfig) -> Result<ConnInfo, Error> {
        parse("dst_db", &self.dst_db, common)
    }
}

fn parse(key: &'static str, text: &str, common: &CommonConfig) -> Result<ConnInfo, Error> {
    let conninfo = ConnInfo::parse(text).map_err(|source| Error::ConnInfo { key, source })?;
    Ok(conninfo.with_application_name(&common.job_name))
}
