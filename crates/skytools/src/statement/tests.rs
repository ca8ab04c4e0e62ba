use super::*;

fn text(push: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<String, Error> {
    let mut out = Vec::new();
    push(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn target<'a>(table: &'a str, keys: &'a [&'a [u8]]) -> Target<'a> {
    Target {
        table: table.as_bytes(),
        keys,
        fields: &[],
    }
}

#[test]
fn a_row_becomes_an_insert() {
    let tbl = target("tbl", &[]);
    let row = Record::from([("id", Some("1")), ("data", None)]);
    assert_eq!(
        text(|out| tbl.push_insert(&row, out)).unwrap(),
        "insert into public.tbl (id, data) values ('1', null);"
    );
    assert_eq!(
        text(|out| tbl.push_insert(&Record::default(), out)).unwrap(),
        "insert into public.tbl default values;"
    );
}

#[test]
fn a_row_becomes_an_update_that_leaves_its_keys() {
    let row = Record::from([
        ("id", Some("0")),
        ("id2", Some("2")),
        ("data", Some("str\\")),
    ]);
    let table = target("Table", &[b"id", b"id2"]);
    assert_eq!(
        text(|out| table.push_update(&row, out)).unwrap(),
        r#"update only public."Table" set data = E'str\\' where id = '0' and id2 = '2';"#
    );
}

#[test]
fn a_row_that_is_all_key_is_set_to_itself() {
    let row = Record::from([("id", Some("1"))]);
    assert_eq!(
        text(|out| target("t", &[b"id"]).push_update(&row, out)).unwrap(),
        "update only public.t set id = '1' where id = '1';"
    );
}

#[test]
fn a_row_becomes_a_delete() {
    let row = Record::from([("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    assert_eq!(
        text(|out| target("tbl", &[b"a", b"b"]).push_delete(&row, out)).unwrap(),
        "delete from only public.tbl where a = '1' and b = '2';"
    );
    let row = Record::from([("a", None)]);
    assert_eq!(
        text(|out| target("tbl", &[b"a"]).push_delete(&row, out)).unwrap(),
        "delete from only public.tbl where a is null;"
    );
}

#[test]
fn a_field_map_selects_and_renames_columns() {
    let row = Record::from([("id", Some("1")), ("a", Some("2")), ("b", Some("3"))]);
    let mapped = Target {
        table: b"s.t",
        keys: &[b"id"],
        fields: &[(b"id", b"key"), (b"b", b"Data")],
    };
    assert_eq!(
        text(|out| mapped.push_insert(&row, out)).unwrap(),
        "insert into s.t (key, \"Data\") values ('1', '3');"
    );
    assert_eq!(
        text(|out| mapped.push_update(&row, out)).unwrap(),
        "update only s.t set \"Data\" = '3' where key = '1';"
    );
    assert_eq!(
        text(|out| mapped.push_delete(&row, out)).unwrap(),
        "delete from only s.t where key = '1';"
    );
}

#[test]
fn a_statement_without_its_key_is_an_error() {
    let row = Record::from([("a", Some("1"))]);
    let (keyless, other) = (target("t", &[]), target("t", &[b"id"]));
    let failures = [
        (
            text(|out| keyless.push_update(&row, out)),
            "update needs pkeys",
        ),
        (
            text(|out| keyless.push_delete(&row, out)),
            "delete needs pkeys",
        ),
        (
            text(|out| other.push_update(&row, out)),
            "column id is missing in the row",
        ),
        (
            text(|out| other.push_delete(&row, out)),
            "column id is missing in the row",
        ),
    ];
    for (result, message) in failures {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}

#[test]
fn rows_become_a_script() {
    let rows: &[&[Option<&[u8]>]] = &[&[Some(b"1"), Some(b"a\tb'c")], &[Some(b"2")], &[]];
    let rows = Rows::positional("tbl", &["col1", "Col2"], rows).unwrap();
    assert_eq!(
        String::from_utf8(rows.copy_sql().unwrap()).unwrap(),
        "COPY public.tbl (col1,\"Col2\") FROM STDIN;\n1\ta\\tb'c\n2\t\\N\n\\N\t\\N\n\\.\n"
    );
    assert_eq!(
        String::from_utf8(rows.insert_sql().unwrap().unwrap()).unwrap(),
        "insert into public.tbl (col1,\"Col2\") values ('1','a\tb''c');\n\
         insert into public.tbl (col1,\"Col2\") values ('2',null);\n\
         insert into public.tbl (col1,\"Col2\") values (null,null);\n"
    );
    let sql = rows.quoted_table("pg_temp.x").copy_sql().unwrap();
    assert!(sql.starts_with(b"COPY pg_temp.x (col1"));
}

#[test]
fn records_with_different_columns_fill_those_of_the_first() {
    let records = [
        Record::from([("a", Some("1")), ("b", Some("2"))]),
        Record::from([("b", Some("3")), ("c", Some("4"))]),
    ];
    let sql = |rows: &Rows<'_>| String::from_utf8(rows.copy_sql().unwrap()).unwrap();
    assert_eq!(
        sql(&Rows::records("t", None, &records)),
        "COPY public.t (a,b) FROM STDIN;\n1\t2\n\\N\t3\n\\.\n"
    );
    assert_eq!(
        sql(&Rows::records("t", Some(&["c"]), &records)),
        "COPY public.t (c) FROM STDIN;\n\\N\n4\n\\.\n"
    );
}

#[test]
fn no_rows_are_no_statement() {
    let rows = Rows::positional::<Vec<_>>("t", &[], &[]).unwrap();
    assert_eq!(rows.copy_sql(), None);
    assert_eq!(rows.insert_sql().unwrap(), None);
    assert_eq!(Rows::records("t", None, &[]).copy_sql(), None);
}

#[test]
fn positional_rows_need_a_list_that_is_long_enough() {
    let rows: &[&[Option<&[u8]>]] = &[&[Some(b"1"), None]];
    let failure = |columns: &[&'static str]| {
        Rows::positional("t", columns, rows)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(failure(&[]), "Non-dict data needs field list");
    assert_eq!(failure(&["a"]), "row has 2 values for 1 columns");
}
