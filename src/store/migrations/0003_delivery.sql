ALTER TABLE "attempts" ADD COLUMN "fact" text;--> statement-breakpoint
ALTER TABLE "holder" ADD COLUMN "lease_ms" integer;--> statement-breakpoint
ALTER TABLE "holder" ADD COLUMN "lease_end_time" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "workers" ADD COLUMN "reserved" text;