import { Code } from "@jetrpc/runtime";
import { expect, test } from "vitest";
import { readSettings } from "../src/settings.js";
import { versionOf } from "../src/version.js";

test("a process serves all methods, or those with or without a model", () => {
  const served = (methods: string) => {
    const { pixels, models } = readSettings({ IMAGE_METHODS: methods });
    return [pixels !== undefined, models !== undefined];
  };
  expect(served("")).toEqual([true, true]);
  expect(served("pixels")).toEqual([true, false]);
  expect(served("models")).toEqual([false, true]);
});

test("each variable is an option", () => {
  const { limits, pixels, models } = readSettings({
    IMAGE_MAX_PIXELS: "1",
    IMAGE_MAX_BYTES: "2",
    IMAGE_MAX_FRAMES: "3",
    IMAGE_TIMEOUT_MS: "4",
    IMAGE_MAX_MEMORY_BYTES: "5",
    IMAGE_KEEP_MEMORY_BYTES: "6",
    IMAGE_PROCESSES: "7",
    IMAGE_MODEL_THREADS: "8",
    IMAGE_DEVICE: "cuda:0, cpu",
    IMAGE_DETECTOR: "d",
    IMAGE_RECOGNIZER: "r",
    IMAGE_DICTIONARY: "t",
    IMAGE_UPSCALER_2X: "u2",
    IMAGE_UPSCALER_4X: "u4",
  });
  expect(limits).toEqual({
    maxPixels: 1,
    maxBytes: 2,
    maxFrames: 3,
    imageTimeoutMs: 4,
    maxMemoryBytes: 5,
    keepMemoryBytes: 6,
  });
  expect(pixels).toEqual({ processes: 7 });
  expect(models).toEqual({
    devices: ["cuda:0", "cpu"],
    detector: "d",
    recognizer: "r",
    dictionary: "t",
    upscalers: { 2: "u2", 4: "u4" },
    threads: 8,
  });
});

test.each([
  ["IMAGE_PROCESSES", "0"],
  ["IMAGE_MAX_PIXELS", "many"],
  ["IMAGE_DEVICE", "gpu"],
  ["IMAGE_DEVICE", "cuda"],
  ["IMAGE_METHODS", "some"],
])("%s=%s is refused", (variable, value) => {
  expect(() => readSettings({ [variable]: value })).toThrow(
    expect.objectContaining({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(variable),
    }),
  );
});

test("discovery shows the devices behind the version", () => {
  expect(versionOf([])).toBe("0.1.0");
  expect(versionOf([{ device: "cuda:0" }, { device: "cpu" }])).toBe("0.1.0+cuda.0.cpu");
});
