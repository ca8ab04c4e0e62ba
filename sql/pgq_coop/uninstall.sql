-- Drops the functions of cooperative consumers. Their subscriptions are pgq's and stay: members can be
-- removed with pgq.unregister_consumer.
drop schema if exists pgq_coop cascade;
