//! The tables that are written to: a narrow one, as pgbench has, and one of 20 columns.

/// A table and what is done to its rows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) create: &'static str,
    /// Inserts the rows `i` of a source that follows.
    rows: &'static str,
    update: &'static str,
    /// Insert, update and delete of the row with the key `$1`.
    pub(super) single: [&'static str; 3],
    /// Most that statement triggers may cost, in parts of the C trigger's cost.
    pub(super) statement_goal: f64,
}

pub(super) const OPERATIONS: [&str; 3] = ["insert", "update", "delete"];

impl Table {
    /// Statements that insert so many rows, update them all, and delete them.
    pub(super) fn bulk(&self, rows: i32) -> [String; 3] {
        [
            format!("{} from generate_series(1, {rows}) i", self.rows),
            self.update.to_owned(),
            format!("delete from {}", self.name),
        ]
    }
}

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "acc",
        create: "create table acc (aid int primary key, bid int, abalance int, filler char(84))",
        rows: "insert into acc select i, 1 + i % 10, 0, ''",
        update: "update acc set abalance = abalance + 1",
        single: [
            "insert into acc values ($1, 1, 0, '')",
            "update acc set abalance = abalance + 1 where aid = $1",
            "delete from acc where aid = $1",
        ],
        statement_goal: 0.5,
    },
    Table {
        name: "wide",
        create: "create table wide (
            id int primary key, i1 int, i2 int not null, i3 int, i4 int,
            t1 text, t2 text not null, t3 text, t4 varchar(100), t5 text, t6 text,
            ts1 timestamptz not null, ts2 timestamptz, n1 numeric, n2 numeric(12,2),
            b1 bool, b2 bool, u1 uuid, d1 date, f1 float8)",
        rows: WIDE_ROWS,
        update: "update wide set i1 = i1 + 1, t2 = t2 || 'x', ts2 = ts1",
        single: [
            WIDE_ROW,
            "update wide set i1 = i1 + 1, t2 = t2 || 'x', ts2 = now() where id = $1",
            "delete from wide where id = $1",
        ],
        statement_goal: 0.65,
    },
];

const WIDE_ROWS: &str = "insert into wide
    select i, i % 100, i % 7, nullif(i % 5, 0), null, 'short text', 'value ' || i, null,
           'it''s item ' || (i % 1000), md5(i::text) || md5((i + 1)::text), 'user' || i || '@example.com',
           timestamptz '2024-01-02 03:04:05.678901+00' + i * interval '1 second', null, i * 1.001,
           (i % 10000) / 100.0, i % 2 = 0, null, md5(i::text)::uuid, date '2024-01-01' + i % 365, i / 3.0";

const WIDE_ROW: &str = "insert into wide values (
    $1, 5, 6, 7, null, 'short text', 'value', null, 'it''s an item', md5('1') || md5('2'), 'user@example.com',
    timestamptz '2024-01-02 03:04:05.678901+00', null, 1.001, 100.25, true, null, md5('3')::uuid, '2024-03-04',
    0.333)";
