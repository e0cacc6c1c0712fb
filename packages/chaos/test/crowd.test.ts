import { bindService } from "@jetrpc/runtime/schema";
import { expect, test } from "vitest";
import { Crowd } from "../src/crowd.js";
import type { Journal } from "../src/journal.js";
import type { Said } from "../src/message.js";
import { serviceFor } from "../src/service.js";

test("one handler too many at once is told, and one that has left or was stopped is not counted", () => {
  const said: Said[] = [];
  const journal = { say: (what: Said) => said.push(what) } as unknown as Journal;
  const crowd = new Crowd(bindService(serviceFor(1)), journal);
  const stopped = new AbortController();
  const { signal } = new AbortController();
  const leave = crowd.enter("Try", signal);
  crowd.enter("Try", stopped.signal);
  leave();
  leave();
  crowd.enter("Try", signal);
  stopped.abort();
  crowd.enter("Try", signal);
  crowd.enter("Share", signal);
  expect(said).toEqual([]);
  crowd.enter("Try", signal);
  expect(said).toEqual([{ crowded: "Try: 3 handlers run at once, of 2" }]);
});
