-- Nobody may use pgq_ext without pgq_writer.
revoke all on function pgq_ext.set_last_tick(text, bigint) from public;
