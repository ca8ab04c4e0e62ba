//! Log set-up: the record layout of SkyTools, to a rotated file and to stderr.
