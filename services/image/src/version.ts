import type { AboutModels } from "./model-process.js";

const version = "0.1.0";

/** The version of a worker as discovery shows it: with its devices, 0.1.0+cuda.0 or 0.1.0+cpu. */
export function versionOf(devices: readonly Pick<AboutModels, "device">[]): string {
  const names = devices.map(({ device }) => device.replace(":", "."));
  return names.length > 0 ? `${version}+${names.join(".")}` : version;
}
