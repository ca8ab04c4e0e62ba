//! The parts of the SQL reference, and which functions stand in them.

/// A part of the page.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    /// In the order of the page, without the schema if that is `pgq`.
    pub(super) functions: &'static [&'static str],
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "Queues",
        text: "",
        functions: &[
            "create_queue",
            "drop_queue",
            "set_queue_config",
            "grant_perms",
            "tune_storage",
        ],
    },
    Group {
        title: "Producing",
        text: "",
        functions: &[
            "insert_event",
            "insert_events",
            "send",
            "insert_event_raw",
            "current_event_table",
        ],
    },
    Group {
        title: "Subscribing",
        text: "",
        functions: &[
            "register_consumer",
            "register_consumer_at",
            "unregister_consumer",
        ],
    },
    Group {
        title: "Batches",
        text: "",
        functions: &[
            "next_batch",
            "next_batch_info",
            "next_batch_custom",
            "get_batch_info",
            "get_batch_events",
            "get_batch_cursor",
            "batch_event_sql",
            "batch_event_tables",
            "finish_batch",
            "find_tick_helper",
            "receive",
            "receive_more",
            "ack",
        ],
    },
    Group {
        title: "Retry and dead letters",
        text: "",
        functions: &[
            "nack",
            "event_retry",
            "batch_retry",
            "event_retry_raw",
            "event_failed",
            "failed_event_list",
            "failed_event_count",
            "failed_event_retry",
            "failed_event_replay",
            "failed_event_delete",
            "failed_event_purge",
        ],
    },
    Group {
        title: "Ticker",
        text: "",
        functions: &["ticker", "force_tick"],
    },
    Group {
        title: "Maintenance",
        text: "`pgqadm ticker` calls all of these, but for `pgq.upgrade_schema`, which belongs to the \
               installer.",
        functions: &[
            "maint_operations",
            "maint_rotate_tables_step1",
            "maint_rotate_tables_step2",
            "maint_retry_events",
            "maint_tables_to_vacuum",
            "upgrade_schema",
        ],
    },
    Group {
        title: "Capture triggers",
        text: "",
        functions: &[
            "create_capture",
            "drop_capture",
            "refresh_captures",
            "sqltriga",
            "logutriga",
            "jsontriga",
            "logtriga",
        ],
    },
    Group {
        title: "Observability",
        text: "",
        functions: &[
            "get_problems",
            "get_queue_health",
            "get_consumer_health",
            "get_queue_info",
            "get_consumer_info",
            "version",
        ],
    },
    Group {
        title: "Names and sequences",
        text: "",
        functions: &["quote_fqname", "seq_getval", "seq_setval"],
    },
    Group {
        title: "Cooperative consumers",
        text: "Schema `pgq_coop`: several processes share the work of one consumer.",
        functions: &[
            "pgq_coop.register_subconsumer",
            "pgq_coop.next_batch",
            "pgq_coop.next_batch_custom",
            "pgq_coop.touch_subconsumer",
            "pgq_coop.finish_batch",
            "pgq_coop.unregister_subconsumer",
            "pgq_coop.version",
        ],
    },
    Group {
        title: "Tracking in the target",
        text: "Schema `pgq_ext`, in the database that a consumer writes to: what it has applied there.",
        functions: &[
            "pgq_ext.get_last_tick",
            "pgq_ext.get_last_tick_time",
            "pgq_ext.set_last_tick",
            "pgq_ext.is_batch_done",
            "pgq_ext.set_batch_done",
            "pgq_ext.is_event_done",
            "pgq_ext.set_event_done",
            "pgq_ext.version",
            "pgq_ext.upgrade_schema",
        ],
    },
];
