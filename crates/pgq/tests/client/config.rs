//! The keys of consumers.

use pgq::batch::BatchWish;
use pgq::consumer::{ConsumerConfig, FailedEventAction, LockLevel};
use skytools::config::{ConfigError, Settings};
use testkit::TestResult;

fn read(keys: &str) -> Result<ConsumerConfig, ConfigError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("job.ini");
    std::fs::write(&path, format!("[mover]\njob_name = job\n{keys}\n")).expect("a file");
    Settings::load(&path, &["mover"], &[])?.main()
}

#[test]
fn a_queue_is_all_a_consumer_needs() -> TestResult {
    let config = read("queue_name = q")?;
    assert_eq!(
        (config.queue.as_str(), config.consumer.as_str()),
        ("q", "job")
    );
    assert_eq!((config.lazy_fetch, config.filter), (300, None));
    assert!(config.listen && !config.autocommit && config.register);
    assert_eq!(config.keepalive.as_secs(), 300);
    assert_eq!(config.subconsumer_timeout, None);
    assert_eq!(config.failed_event_action, FailedEventAction::Refuse);
    assert_eq!((config.subconsumer, config.tracking_file), (None, None));
    assert_eq!(
        (config.wish, config.lock),
        (BatchWish::default(), LockLevel::Session)
    );
    Ok(())
}

#[test]
fn a_missing_queue_is_named() {
    let error = read("pgq_consumer_id = c").expect_err("there is no queue");
    assert!(
        error
            .to_string()
            .contains("Config value not set: pgq_queue_name"),
        "{error}"
    );
}

#[test]
fn the_older_of_two_names_wins() -> TestResult {
    let config = read(
        "pgq_queue_name = old\nqueue_name = new\n\
         pgq_consumer_id = older\nconsumer_name = newer",
    )?;
    assert_eq!(
        (config.queue.as_str(), config.consumer.as_str()),
        ("old", "older")
    );
    Ok(())
}

#[test]
fn every_key_is_read() -> TestResult {
    let config = read(
        "pgq_queue_name = q\nconsumer_name = c\npgq_lazy_fetch = 0\n\
         pgq_batch_collect_events = 100\npgq_batch_collect_interval = 1 minute\n\
         pgq_keep_lag = 2 hours\nconsumer_lock = transaction\nkeepalive_stats = 2.5\n\
         failed_event_action = retry\nsubconsumer_name = s1\nsubconsumer_timeout = 5 minutes\n\
         local_tracking_file = /var/lib/tick\npgq_listen = off\npgq_autocommit = 1\n\
         table_filter = users, s.it's\nauto_register = 0\nconsumer_filter = ev_type = 'I' or ev_type = 'U'",
    )?;
    assert_eq!((config.lazy_fetch, config.autocommit), (0, true));
    assert!(!config.listen && !config.register);
    assert_eq!(config.failed_event_action, FailedEventAction::Retry);
    assert_eq!(config.subconsumer, Some("s1".into()));
    assert_eq!(config.subconsumer_timeout.as_deref(), Some("5 minutes"));
    assert_eq!(config.tracking_file, Some("/var/lib/tick".into()));
    let wish = BatchWish {
        min_count: Some(100),
        min_interval: Some("1 minute".to_owned()),
        keep_lag: Some("2 hours".to_owned()),
    };
    assert_eq!((config.wish, config.lock), (wish, LockLevel::Transaction));
    assert_eq!(config.keepalive.as_secs_f64(), 2.5);
    assert_eq!(
        config.filter.as_deref(),
        Some("ev_extra1 in ('public.users', 's.it''s') and (ev_type = 'I' or ev_type = 'U'\n)")
    );
    Ok(())
}

#[test]
fn wrong_values_are_refused() {
    for keys in [
        "pgq_lazy_fetch = -1",
        "consumer_lock = none",
        "keepalive_stats = often",
        "failed_event_action = refuse",
    ] {
        assert!(read(&format!("queue_name = q\n{keys}")).is_err(), "{keys}");
    }
}

#[test]
fn autocommit_needs_batches_that_are_read_at_once() -> TestResult {
    for keys in ["", "pgq_lazy_fetch = 10"] {
        let error = read(&format!("queue_name = q\npgq_autocommit = 1\n{keys}"))
            .expect_err("the two do not go together");
        let message = error.to_string();
        assert!(
            message.contains("pgq_autocommit is not compatible with pgq_lazy_fetch"),
            "{message}"
        );
    }
    assert!(read("queue_name = q\npgq_autocommit = 1\npgq_lazy_fetch = 0")?.autocommit);
    Ok(())
}
