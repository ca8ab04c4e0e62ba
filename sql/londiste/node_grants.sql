-- Everybody may see the nodes, but not how to connect to them.

grant select (queue_name, lineage, node_name, node_id, paused, generation) on londiste.node_info to public;
grant select on londiste.node_generation to public;
revoke execute on function
    londiste.node_create(text, text),
    londiste.node_join(text, text, uuid, text, integer[], text[], bigint[]),
    londiste.node_promoted(text, text, integer, bigint),
    londiste.node_provider(text),
    londiste.node_forget(text),
    londiste.publish_watermark(text, interval)
from public;
