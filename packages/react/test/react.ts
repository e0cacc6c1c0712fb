import { cleanup } from "@testing-library/react";
import { version } from "react";
import { afterEach, beforeEach, expect, type MockInstance, vi } from "vitest";

/** Which React the tests are to run with. */
const wanted = process.env["JETRPC_TEST_REACT"] ?? "19";

/** Takes components away after each test, and fails a test in which React has warned. */
export function watchReact(): void {
  let warned: MockInstance;
  beforeEach(() => {
    warned = vi.spyOn(console, "error");
  });
  afterEach(() => {
    cleanup();
    expect(version.split(".")[0]).toBe(wanted);
    expect(warned.mock.calls).toEqual([]);
    warned.mockRestore();
  });
}
