import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { isLost } from "../page/src/error-text.js";

test.each([
  // Chromium: of a request, and of a response that breaks off.
  "Failed to fetch",
  "network error",
  // Firefox.
  "NetworkError when attempting to fetch resource.",
  "Error in input stream",
  // Safari.
  "Load failed",
  "The network connection was lost.",
])("a page goes on after: %s", (text) => {
  expect(isLost(new TypeError(text))).toBe(true);
  expect(isLost(ConnectError.from(new TypeError(text)))).toBe(true);
});

test("a refusal is no loss", () => {
  expect(isLost(new ConnectError("may not", Code.PermissionDenied))).toBe(false);
});
