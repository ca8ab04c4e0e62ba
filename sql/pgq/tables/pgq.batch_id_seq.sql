-- Ids of batches, of all queues. Targets remember them, so they are never given out twice.
create sequence if not exists pgq.batch_id_seq;
