/** A child process of the PixelEngine. */
import { runChild } from "./child-process.js";
import type { Limits } from "./image-file.js";
import { doPixelWork, type PixelWork } from "./pixel-work.js";

let limits: Limits;

runChild<Limits, PixelWork>({
  async start(setup) {
    limits = setup;
  },
  run: (work, context) => doPixelWork(work, limits, context),
});
