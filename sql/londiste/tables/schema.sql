-- The schema of Londiste, the same on provider and subscriber.

create schema if not exists londiste;
