/** The decoded pixels of an image: red, green and blue, a byte each. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** A point, in pixels. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Half of an image on each side, each pixel the mean of four. */
export function halve({ width, height, data }: Pixels): Pixels {
  const [w, h] = [Math.max(1, width >> 1), Math.max(1, height >> 1)];
  const half = new Uint8Array(w * h * 3);
  for (let y = 0; y < h; y++) {
    const above = 2 * y * width;
    const below = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < w; x++) {
      const right = Math.min(2 * x + 1, width - 1);
      for (let c = 0; c < 3; c++) {
        const at = (pixel: number) => data[3 * pixel + c] as number;
        const sum = at(above + 2 * x) + at(above + right) + at(below + 2 * x) + at(below + right);
        half[3 * (y * w + x) + c] = (sum + 2) >> 2;
      }
    }
  }
  return { width: w, height: h, data: half };
}

/**
 * Calls back with each value of a parallelogram of an image, as a picture of `width` x
 * `height`: between pixels values are interpolated, beyond the border the border goes on.
 */
export function sample(
  { data, width: sourceWidth, height: sourceHeight }: Pixels,
  corner: Point,
  along: Point,
  down: Point,
  width: number,
  height: number,
  set: (pixel: number, channel: number, value: number) => void,
): void {
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [u, v] = [(column + 0.5) / width, (row + 0.5) / height];
      const x = clamp(corner.x + u * along.x + v * down.x - 0.5, sourceWidth - 1);
      const y = clamp(corner.y + u * along.y + v * down.y - 0.5, sourceHeight - 1);
      const [x0, y0] = [Math.floor(x), Math.floor(y)];
      const [x1, y1] = [Math.min(x0 + 1, sourceWidth - 1), Math.min(y0 + 1, sourceHeight - 1)];
      const [fx, fy] = [x - x0, y - y0];
      for (let c = 0; c < 3; c++) {
        const at = (px: number, py: number) => data[3 * (py * sourceWidth + px) + c] as number;
        const top = at(x0, y0) * (1 - fx) + at(x1, y0) * fx;
        const bottom = at(x0, y1) * (1 - fx) + at(x1, y1) * fx;
        set(row * width + column, c, top * (1 - fy) + bottom * fy);
      }
    }
  }
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(most, value));
}
