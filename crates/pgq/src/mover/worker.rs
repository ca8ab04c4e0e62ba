use std::time::Duration;

use skytools::app::chain;
use skytools::config::{Both, CommonConfig};
use skytools::conninfo::ConnInfo;
use skytools::daemon::{Context, Stop, Work, Worker};
use skytools::db::{Database, Tx, denied_on};
use tracing::warn;

use super::{Mover, MoverConfig, Report, halving, rights};
use crate::Error;
use crate::batch::Batch;
use crate::consumer::{BatchWork, ConsumerConfig, OpenBatch, SerialArgs, SerialConsumer};

/// Where the position is kept at the target.
const SCHEMA: &str = "pgq_ext";

/// A mover with its consumer.
pub(super) struct Runner<M> {
    mover: M,
    consumer: SerialConsumer,
    config: ConsumerConfig,
    lifetime: Duration,
    /// Whether the job was found to make sense.
    checked: bool,
}

/// One round: the mover, and what it has done.
struct Round<'a, M> {
    mover: &'a mut M,
    report: &'a mut Report,
    /// Age of the batch's end when it was applied.
    lag_seconds: Option<f64>,
}

impl<M: Mover> Runner<M> {
    /// Checks the configuration, and connects to nothing.
    pub(super) fn new(
        common: &CommonConfig,
        config: MoverConfig<M::Config>,
    ) -> Result<Runner<M>, M::Error> {
        let Both(config, Both(databases, own)) = config;
        let lifetime = common.connection_lifetime;
        let source = Database::new("src_db", databases.source(common)?, lifetime);
        let target = Database::new("dst_db", databases.target(common)?, lifetime);
        Ok(Runner {
            mover: M::new(own)?,
            consumer: SerialConsumer::new(source, target, SCHEMA, config.clone()),
            config,
            lifetime,
            checked: false,
        })
    }

    /// Runs what the options ask for instead of the work loop.
    pub(super) fn command(&mut self, args: SerialArgs, stop: &Stop) -> Result<(), M::Error> {
        let mut done = || {
            if args.consumer.register {
                self.check(stop)?;
            }
            self.consumer.command(args)?;
            Ok(())
        };
        done().map_err(|error| self.explain(error, stop))
    }

    /// Applies one batch and undoes it.
    pub(super) fn rehearse(
        &mut self,
        context: &mut Context,
    ) -> Result<Option<(Batch, Report)>, M::Error> {
        let mut report = Report::default();
        let rehearsed = self.check(&context.stop).and_then(|()| {
            let mut round = Round {
                mover: &mut self.mover,
                report: &mut report,
                lag_seconds: None,
            };
            self.consumer.rehearse(context, &mut round)
        });
        let batch = rehearsed.map_err(|error| self.explain(error, &context.stop))?;
        Ok(batch.map(|batch| (batch, report)))
    }

    /// Adds to an error the grants that the role lacks, if that is why it came.
    fn explain(&mut self, error: M::Error, stop: &Stop) -> M::Error {
        let Some(connection) = denied_on(&error) else {
            return error;
        };
        let is_source = connection == "src_db";
        let needs = self.mover.needs();
        let lacking = self
            .consumer
            .connections(stop)
            .and_then(|(source, target)| {
                Ok(match is_source {
                    true => rights::lacking_at_source(source)?,
                    false => rights::lacking_at_target(target, &needs)?,
                })
            });
        match lacking {
            Ok(grants) if !grants.is_empty() => Error::Denied {
                database: if is_source { "src_db" } else { "dst_db" },
                grants,
                source: Box::new(error),
            }
            .into(),
            _ => error,
        }
    }

    /// One round of the work.
    fn round(&mut self, context: &mut Context) -> Result<Work, M::Error> {
        self.check(&context.stop)?;
        let mut report = Report::default();
        let mut round = Round {
            mover: &mut self.mover,
            report: &mut report,
            lag_seconds: None,
        };
        let work = self.consumer.work_on(context, &mut round)?;
        let (_, target) = self.consumer.connections(&context.stop)?;
        if let Err(error) = round.mover.maintain(target) {
            warn!("{}", chain(&error));
        }
        if let Some(lag) = round.lag_seconds {
            report.count(&mut context.stats);
            context.stats.put("lag", lag);
        }
        Ok(work)
    }

    fn check(&mut self, stop: &Stop) -> Result<(), M::Error> {
        if !self.checked {
            let (source, target) = self.consumer.connections(stop)?;
            self.mover.check(&self.config, source, target)?;
            self.checked = true;
        }
        Ok(())
    }
}

impl<M: Mover> BatchWork for Round<'_, M> {
    type Error = M::Error;

    fn prepare(
        &mut self,
        batch: &mut OpenBatch<'_>,
        target: &mut Tx<'_>,
    ) -> Result<bool, M::Error> {
        self.mover.prepare(batch, target, self.report)
    }

    fn apply(&mut self, batch: &mut OpenBatch<'_>, target: &mut Tx<'_>) -> Result<(), M::Error> {
        self.report.restart();
        halving::apply(self.mover, batch, target, self.report)?;
        self.lag_seconds = Some(batch.info()?.lag_seconds);
        Ok(())
    }

    fn is_unprepared(&self, error: &M::Error) -> bool {
        M::is_unprepared(error)
    }
}

impl<M: Mover> Worker for Runner<M> {
    type Config = MoverConfig<M::Config>;
    type Error = M::Error;

    fn work(&mut self, context: &mut Context) -> Result<Work, M::Error> {
        let worked = self.round(context);
        worked.map_err(|error| self.explain(error, &context.stop))
    }

    fn pause(&mut self, context: &Context, delay: Duration) {
        self.consumer.pause(context, delay);
    }

    fn recover(&mut self) {
        self.consumer.recover();
        self.mover.forget();
    }

    fn between(&mut self) {
        self.consumer.between(self.lifetime);
    }

    fn reload(
        &mut self,
        common: &CommonConfig,
        config: MoverConfig<M::Config>,
    ) -> Result<(), M::Error> {
        let Both(config, Both(databases, own)) = config;
        let (source, target) = (databases.source(common)?, databases.target(common)?);
        let mut mover = M::new(own)?;
        // On connections of its own, so that the old configuration can stay with those that it has.
        let looked = look(&mut mover, &config, [source.clone(), target.clone()]);
        self.checked = match looked {
            Ok(()) => true,
            Err(error) if self.is_fatal(&error) => return Err(error),
            // The next round looks again.
            Err(_) => false,
        };
        self.mover = mover;
        self.consumer.reconfigure(source, target, config.clone());
        self.config = config;
        self.lifetime = common.connection_lifetime;
        Ok(())
    }

    fn is_fatal(&self, error: &M::Error) -> bool {
        M::is_fatal(error)
            || M::as_queue_error(error).is_some_and(|error| {
                matches!(
                    error,
                    Error::UnknownEncoding(_)
                        | Error::NoQuarantine { .. }
                        | Error::NoQuarantineRights(_)
                ) || self.consumer.is_fatal(error)
            })
    }
}

/// Has a mover look at a source and a target.
fn look<M: Mover>(
    mover: &mut M,
    config: &ConsumerConfig,
    [source, target]: [ConnInfo; 2],
) -> Result<(), M::Error> {
    let mut source = Database::new("src_db", source, Duration::ZERO);
    let mut target = Database::new("dst_db", target, Duration::ZERO);
    let source = source.connection().map_err(Error::from)?;
    let target = target.connection().map_err(Error::from)?;
    mover.check(config, source, target)
}
