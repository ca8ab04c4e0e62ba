//! Installing SQL that is embedded in a program.
