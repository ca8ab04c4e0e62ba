//! The place of a database in the cascade of a queue.
//!
//! All nodes of a lineage have the same events and the same ticks, so that a position on one is a
//! position on every other. Promoting a node to root begins a generation; a node that has applied
//! what the new root never had is no part of it.

use pgq::{ConsumerName, QueueName, TickId, lock, position};
use postgres::types::Type;
use skytools::conninfo::ConnInfo;
use skytools::db::{Connection, During, Session};
use tracing::{info, warn};

use crate::{CascadeError, Error, schema};

/// Name of the node on which a lineage begins.
pub(crate) const ROOT: &str = "root";

/// What a database says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// A UUID; ticks of other lineages do not compare.
    pub(crate) lineage: String,
    /// Name among the nodes.
    pub(crate) name: String,
    /// Number of promotions that it knows of, and one.
    pub(crate) generation: i32,
    /// A root that has been demoted.
    pub(crate) paused: bool,
}

/// The beginning of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promotion {
    /// The generation that began.
    pub(crate) generation: i32,
    /// The node that became the root.
    pub(crate) node: String,
    /// Newest tick of the generation before that it has.
    pub(crate) last_tick: TickId,
}

/// What the database says about itself; `None` if it has no place in a cascade.
pub(crate) fn find(db: &mut Session<'_>, queue: &QueueName) -> Result<Option<Node>, Error> {
    if !knows_nodes(db)? {
        return Ok(None);
    }
    let row = db
        .query_typed_opt(
            "select lineage::text, node_name, generation, paused \
             from londiste.node_info where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("read the lineage of the queue")?;
    Ok(row.map(|row| Node {
        lineage: row.get(0),
        name: row.get(1),
        generation: row.get(2),
        paused: row.get(3),
    }))
}

/// The queue that a consumer was the first to read into this database: that gave the node its name.
pub(crate) fn began_with(
    db: &mut Session<'_>,
    consumer: &ConsumerName,
) -> Result<Option<QueueName>, Error> {
    if !knows_nodes(db)? {
        return Ok(None);
    }
    let row = db
        .query_typed_opt(
            "select queue_name from londiste.node_info where node_name = $1 order by 1 limit 1",
            &[(consumer, Type::TEXT)],
        )
        .during("look for the queue of a consumer")?;
    Ok(row.map(|row| row.get(0)))
}

/// The promotions that a node knows of, oldest first.
pub(crate) fn promotions(db: &mut Session<'_>, queue: &QueueName) -> Result<Vec<Promotion>, Error> {
    let rows = db
        .query_typed(
            "select generation, node_name, last_tick from londiste.node_generation \
             where queue_name = $1 order by generation",
            &[(queue, Type::TEXT)],
        )
        .during("read the generations of the queue")?;
    Ok(rows
        .iter()
        .map(|row| Promotion {
            generation: row.get(0),
            node: row.get(1),
            last_tick: row.get(2),
        })
        .collect())
}

/// Makes the database the root of a new lineage, unless it has a place in one or does not make the
/// ticks of the queue. Nothing happens where the role may not.
pub(crate) fn create(db: &mut Session<'_>, queue: &QueueName) -> Result<Option<Node>, Error> {
    if schema::may_call(db, "londiste.node_create(text,text)")? {
        db.query_typed(
            "select londiste.node_create($1, $2)",
            &[(queue, Type::TEXT), (&ROOT, Type::TEXT)],
        )
        .during("begin a lineage")?;
    }
    find(db, queue)
}

/// As [`stored_provider`], and says so in the log.
pub(crate) fn provider(
    subscriber: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Option<ConnInfo>, Error> {
    let stored = stored_provider(subscriber, queue)?;
    if let Some(conninfo) = &stored {
        info!("provider_db is overridden by \"subscriber change-provider\": {conninfo}");
    }
    Ok(stored)
}

/// Connect string of the provider that "subscriber change-provider" stored on the subscriber.
///
/// # Errors
/// The stored text is no connect string.
pub(crate) fn stored_provider(
    subscriber: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Option<ConnInfo>, Error> {
    let parse = |text: String| {
        ConnInfo::parse(&text).map_err(|source| Error::ConnInfo {
            key: "londiste.node_info.provider_dsn",
            source,
        })
    };
    provider_text(subscriber, queue)?.map(parse).transpose()
}

/// The stored text itself, with its password.
pub(crate) fn provider_text(
    subscriber: &mut Session<'_>,
    queue: &QueueName,
) -> Result<Option<String>, Error> {
    // A role that only compares need not be allowed to ask.
    if !schema::may_call(subscriber, "londiste.node_provider(text)")? {
        return Ok(None);
    }
    let row = subscriber
        .query_typed_one("select londiste.node_provider($1)", &[(queue, Type::TEXT)])
        .during("ask for the stored provider")?;
    Ok(row.get(0))
}

fn knows_nodes(db: &mut Session<'_>) -> Result<bool, Error> {
    let row = db
        .query_typed_one("select to_regclass('londiste.node_info') is not null", &[])
        .during("look at the schema londiste")?;
    Ok(row.get(0))
}

/// What came out of [`meet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meeting {
    /// The provider is another database than the one events were last read from.
    pub(crate) moved: bool,
}

/// Makes sure that the positions of the subscriber mean something on the provider; changes nothing
/// but what an older version lacks.
///
/// # Errors
/// They do not; or the provider is the subscriber itself.
pub(crate) fn meet(
    queue: &QueueName,
    consumer: &ConsumerName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<Meeting, Error> {
    insist_apart(provider, subscriber)?;
    meet_apart(queue, consumer, provider, subscriber)
}

/// As [`meet`], by fewer questions: the session of the subscriber holds the lock of the consumer.
pub(crate) fn meet_with_lock(
    queue: &QueueName,
    consumer: &ConsumerName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<Meeting, Error> {
    // A consumer of that name may read another queue into the provider.
    if lock::is_consumer_locked(&mut **provider, "londiste", consumer)? {
        insist_apart(provider, subscriber)?;
    }
    meet_apart(queue, consumer, provider, subscriber)
}

/// As [`meet`], for two databases.
fn meet_apart(
    queue: &QueueName,
    consumer: &ConsumerName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<Meeting, Error> {
    schema::migrate(provider)?;
    schema::migrate(subscriber)?;
    let ours = find(subscriber, queue)?;
    let theirs = match find(provider, queue)? {
        None => create(provider, queue)?,
        known => known,
    };
    let Some(ours) = ours else {
        return Ok(Meeting { moved: false });
    };
    let Some(theirs) = theirs else {
        return Err(CascadeError::NoLineage {
            queue: queue.clone(),
            ours: ours.lineage,
        }
        .into());
    };
    let applied = position::last_tick(&mut **subscriber, "londiste", consumer)?;
    let (known_there, known_here) = (promotions(provider, queue)?, promotions(subscriber, queue)?);
    check(queue, &theirs, &known_there, &ours, applied)?;
    check_rivals(&known_there, &known_here)?;
    let known: Option<String> = subscriber
        .query_typed_one(
            "select (to_jsonb(n) ->> 'provider_id') from londiste.node_info n \
             where queue_name = $1",
            &[(queue, Type::TEXT)],
        )
        .during("read which provider was used")?
        .get(0);
    let moved = match known {
        Some(known) => known != identity(provider, queue)?,
        None => false,
    };
    Ok(Meeting { moved })
}

/// Makes sure that the two sides are not one database, whose tables would be copied onto themselves.
///
/// # Errors
/// They are.
pub(crate) fn insist_apart(
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<(), Error> {
    // A copy of the server's files has its identifiers too, but not its locks.
    let mut tx = provider.begin()?;
    let key: i64 = tx
        .query_typed_one(
            "select k from (select pg_catalog.hashtextextended(pg_catalog.concat(\
                 pg_catalog.pg_backend_pid(), pg_catalog.clock_timestamp(), pg_catalog.random()), 0) as k offset 0) r \
             where pg_catalog.pg_try_advisory_xact_lock(k)",
            &[],
        )
        .during("tell the two databases apart")?
        .get(0);
    let is_apart: bool = subscriber
        .query_typed_one(
            "select pg_catalog.pg_try_advisory_xact_lock($1)",
            &[(&key, Type::INT8)],
        )
        .during("tell the two databases apart")?
        .get(0);
    tx.rollback()?;
    match is_apart {
        true => Ok(()),
        false => Err(Error::SameDatabase),
    }
}

/// Whether [`join`] has something to store, and a place for it.
pub(crate) fn can_join(
    queue: &QueueName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<bool, Error> {
    Ok(find(provider, queue)?.is_some() && knows_nodes(subscriber)?)
}

/// Stores the subscriber's place beside the provider it has met.
pub(crate) fn join(
    queue: &QueueName,
    consumer: &ConsumerName,
    provider: &mut Connection,
    subscriber: &mut Connection,
) -> Result<(), Error> {
    let Some(theirs) = find(provider, queue)? else {
        return Ok(());
    };
    if !knows_nodes(subscriber)? {
        return Ok(());
    }
    let promotions = promotions(provider, queue)?;
    let generations: Vec<i32> = promotions.iter().map(|p| p.generation).collect();
    let names: Vec<&str> = promotions.iter().map(|p| p.node.as_str()).collect();
    let ticks: Vec<TickId> = promotions.iter().map(|p| p.last_tick).collect();
    let before = find(subscriber, queue)?.map(|node| node.generation);
    let identity = identity(provider, queue)?;
    let row = subscriber
        .query_typed_one(
            "select londiste.node_join($1, $2, $3::text::uuid, $4, $5, $6, $7)",
            &[
                (queue, Type::TEXT),
                (consumer, Type::TEXT),
                (&theirs.lineage, Type::TEXT),
                (&identity, Type::TEXT),
                (&generations, Type::INT4_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&ticks, Type::INT8_ARRAY),
            ],
        )
        .during("store the lineage of the queue")?;
    let after: i32 = row.get(0);
    if before.is_some_and(|before| before < after) {
        warn!("another node has become the root: generation {after}");
    }
    Ok(())
}

/// Names the node and its server: a dump that is restored elsewhere is another one, a physical standby
/// that took over is not.
pub(crate) fn identity(db: &mut Session<'_>, queue: &QueueName) -> Result<String, Error> {
    let row = db
        .query_typed_one(
            "select coalesce((select node_id::text from londiste.node_info where queue_name = $1), '') \
                    || '/' || system_identifier from pg_catalog.pg_control_system()",
            &[(queue, Type::TEXT)],
        )
        .during("ask for the identity of the provider")?;
    Ok(row.get(0))
}

/// Whether a subscriber can read on at a provider.
fn check(
    queue: &QueueName,
    theirs: &Node,
    promotions: &[Promotion],
    ours: &Node,
    applied: Option<TickId>,
) -> Result<(), Error> {
    if theirs.lineage != ours.lineage {
        return Err(CascadeError::OtherLineage {
            queue: queue.clone(),
            theirs: theirs.lineage.clone(),
            ours: ours.lineage.clone(),
        }
        .into());
    }
    if theirs.generation < ours.generation {
        return Err(CascadeError::OlderGeneration {
            theirs: theirs.generation,
            ours: ours.generation,
        }
        .into());
    }
    let missed = promotions
        .iter()
        .filter(|promotion| promotion.generation > ours.generation)
        .min_by_key(|promotion| promotion.last_tick);
    match (missed, applied) {
        (Some(promotion), Some(applied)) if applied > promotion.last_tick => {
            Err(CascadeError::LostChanges {
                applied,
                node: promotion.node.clone(),
                last: promotion.last_tick,
            }
            .into())
        }
        _ => Ok(()),
    }
}

/// Makes sure that both sides know the same nodes as roots: the ticks of two that were promoted apart do not
/// compare.
fn check_rivals(theirs: &[Promotion], ours: &[Promotion]) -> Result<(), Error> {
    for our in ours {
        let their = theirs
            .iter()
            .find(|their| their.generation == our.generation);
        if let Some(their) = their.filter(|their| *their != our) {
            return Err(CascadeError::RivalRoot {
                generation: our.generation,
                theirs: their.node.clone(),
                ours: our.node.clone(),
            }
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(lineage: &str, generation: i32) -> Node {
        Node {
            lineage: lineage.to_owned(),
            name: "n".to_owned(),
            generation,
            paused: false,
        }
    }

    fn meet(theirs: &Node, ours: &Node, applied: i64) -> Result<(), Error> {
        let promotions = [(2, 50), (3, 40)].map(|(generation, last_tick)| Promotion {
            generation,
            node: format!("node{generation}"),
            last_tick: TickId::from(last_tick),
        });
        let known = usize::try_from(theirs.generation - 1).unwrap();
        check(
            &QueueName::from("q"),
            theirs,
            &promotions[..known],
            ours,
            Some(TickId::from(applied)),
        )
    }

    #[test]
    fn only_nodes_of_one_lineage_meet() {
        assert!(meet(&node("a", 1), &node("a", 1), 7).is_ok());
        let error = meet(&node("b", 1), &node("a", 1), 7).unwrap_err();
        assert!(
            matches!(error, Error::Cascade(CascadeError::OtherLineage { .. })),
            "{error}"
        );
    }

    #[test]
    fn a_former_root_is_no_provider_of_a_newer_generation() {
        let error = meet(&node("a", 1), &node("a", 2), 7).unwrap_err();
        assert!(
            matches!(error, Error::Cascade(CascadeError::OlderGeneration { .. })),
            "{error}"
        );
    }

    #[test]
    fn a_subscriber_with_changes_that_the_new_root_lacks_is_refused() {
        for (generation, applied, lost) in [
            (1, 40, false),
            // The third root had less than the second.
            (1, 41, true),
            (2, 41, true),
            (3, 60, false),
        ] {
            let met = meet(&node("a", 3), &node("a", generation), applied);
            assert_eq!(met.is_err(), lost, "{generation} {applied}");
        }
        assert!(meet(&node("a", 2), &node("a", 1), 50).is_ok());
        assert!(meet(&node("a", 2), &node("a", 1), 51).is_err());
    }

    #[test]
    fn two_roots_of_one_generation_are_rivals() {
        let promotion = |generation, node: &str, last_tick| Promotion {
            generation,
            node: node.to_owned(),
            last_tick: TickId::from(last_tick),
        };
        let ours = [promotion(2, "x", 50), promotion(3, "y", 60)];
        assert!(check_rivals(&ours, &ours).is_ok());
        assert!(check_rivals(&ours[..1], &ours).is_ok());
        assert!(check_rivals(&[], &ours).is_ok());
        for theirs in [promotion(2, "z", 50), promotion(3, "y", 61)] {
            let error = check_rivals(&[theirs], &ours).unwrap_err();
            assert!(
                matches!(error, Error::Cascade(CascadeError::RivalRoot { .. })),
                "{error}"
            );
        }
    }
}
