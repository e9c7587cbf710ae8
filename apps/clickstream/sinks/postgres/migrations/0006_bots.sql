-- What kind of bot a click is of. A sink of the release before goes on working: it writes none.

ALTER TABLE clicks ADD COLUMN bot_kind text;
COMMENT ON COLUMN clicks.bot_kind IS 'ai, search, preview, monitor, feed, ad, seo, archive, scanner, research, automation, tool or other; NULL: no bot, or enriched by a release before 0006.';
