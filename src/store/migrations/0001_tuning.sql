-- Room on each page lets an update stay on it (HOT): no index is touched while a run moves through its states.
ALTER TABLE "runs" SET (fillfactor = 60);
--> statement-breakpoint
ALTER TABLE "steps" SET (fillfactor = 60);
--> statement-breakpoint
ALTER TABLE "workers" SET (fillfactor = 50);
--> statement-breakpoint
-- One row, rewritten by every commit: its dead versions are cleaned page by page as they are met.
ALTER TABLE "holder" SET (fillfactor = 10);
--> statement-breakpoint
INSERT INTO "holder" ("id", "epoch", "batch", "name", "acquire_time") VALUES (1, 0, 0, '', now());
