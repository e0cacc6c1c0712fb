import { expect, test } from "vitest";
import { MemoryWatch } from "../src/memory.js";

const megabyte = 1024 * 1024;

/** A process that is looked at every 5 s. */
function watch(seconds: number, heapAt: (second: number) => number): string[] {
  const memory = new MemoryWatch();
  for (let second = 5; second <= seconds; second += 5) {
    const heap = heapAt(second) * megabyte;
    memory.hear({ pid: 7, ageMs: second * 1000, rss: 100 * megabyte, heap });
  }
  return memory.grown();
}

test("a process has grown when the least that it holds is far above that of its second minute", () => {
  expect(watch(600, (second) => 30 + second / 3)).toEqual([
    expect.stringMatching(/^process 7: heap grew from \d+ MB to \d+ MB$/),
  ]);
});

test("garbage that comes and goes is no growth, nor is what a process needs to get going", () => {
  expect(watch(600, (second) => 30 + (second % 30) * 10)).toEqual([]);
  expect(watch(600, (second) => Math.min(second * 5, 200))).toEqual([]);
});

test("a short life shows nothing", () => {
  expect(watch(100, (second) => second * 10)).toEqual([]);
});
