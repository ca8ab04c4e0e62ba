//! The INI dialect of SkyTools: sections, continuation lines, comments.
