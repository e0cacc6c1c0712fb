import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Journal, JournalReader } from "../src/journal.js";

test("a line that its writer was killed in is dropped, and no other", () => {
  const folder = mkdtempSync(join(tmpdir(), "jetrpc-journal-"));
  const path = join(folder, "journal");
  const reader = new JournalReader(path);
  onTestFinished(() => {
    reader.close();
    rmSync(folder, { recursive: true });
  });
  new Journal(path).say({ crowded: "one" });
  appendFileSync(path, '{"crowded":"tor');
  expect([...reader.read()]).toEqual([{ crowded: "one" }]);
  const next = new Journal(path);
  next.say({ crowded: "two" });
  expect([...reader.read()]).toEqual([{ crowded: "two" }]);
  appendFileSync(path, '{"crowded":');
  expect([...reader.read()]).toEqual([]);
  appendFileSync(path, '"three"}\n');
  expect([...reader.read()]).toEqual([{ crowded: "three" }]);
});
