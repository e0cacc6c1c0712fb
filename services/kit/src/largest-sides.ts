/** Pixels that an image format allows on each side. */
export const largestSides = {
  png: 2 ** 31 - 1,
  jpeg: 65_500,
  webp: 16_383,
  gif: 65_535,
  avif: 16_384,
  tiff: 2 ** 31 - 1,
} as const satisfies Record<string, number>;
