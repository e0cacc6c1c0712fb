import { Code, ConnectError } from "@jetrpc/runtime";
import { ImageFormat } from "@jetrpc-examples/image-v1-client";
import type { Format } from "./image-file.js";

const names: ReadonlyMap<ImageFormat, Format> = new Map([
  [ImageFormat.JPEG, "jpeg"],
  [ImageFormat.PNG, "png"],
  [ImageFormat.WEBP, "webp"],
  [ImageFormat.GIF, "gif"],
  [ImageFormat.AVIF, "avif"],
  [ImageFormat.TIFF, "tiff"],
]);

/** The format that a request names. Throws InvalidArgument for one that is not among those allowed. */
export function toFormat<F extends Format>(
  format: ImageFormat,
  allowed: readonly F[],
): F | undefined {
  if (format === ImageFormat.UNSPECIFIED) {
    return undefined;
  }
  const name = names.get(format);
  const found = allowed.find((each) => each === name);
  if (!found) {
    throw new ConnectError(
      `format ${name ?? format} cannot be made here: take one of ${allowed.join(", ")}`,
      Code.InvalidArgument,
    );
  }
  return found;
}

/** A format as the schema has it. */
export function fromFormat(format: Format): ImageFormat {
  return [...names].find(([, name]) => name === format)?.[0] ?? ImageFormat.UNSPECIFIED;
}

/** Throws InvalidArgument for a number that is out of its range. */
export function checkRange(name: string, value: number, least: number, most: number): number {
  if (!(value >= least && value <= most)) {
    throw new ConnectError(
      `${name} is ${value}: it must be ${least} to ${most}`,
      Code.InvalidArgument,
    );
  }
  return value;
}
