/**
 * From the map that a detector of text makes (DB: differentiable binarization) to the boxes
 * of lines.
 *
 * @module
 */
import type { Point } from "./pixels.js";

/** The corners of a line: of its beginning and its end at the top, of its end and its beginning at the bottom. */
export type Corners = readonly [Point, Point, Point, Point];

/** A probability above this is text. */
const textAbove = 0.3;

/** The mean probability that a box has at least. */
const boxAbove = 0.6;

/** By how much boxes are widened: the detector marks the core of a line. */
const widening = 1.5;

/** Sides of a smaller box, in pixels of the map, are noise. */
const leastSide = 3;

/** The boxes of a map of probabilities, in its pixels, in the order of reading. */
export function findBoxes(map: ArrayLike<number>, width: number, height: number): Corners[] {
  const seen = new Uint8Array(width * height);
  const boxes: Corners[] = [];
  const stack: number[] = [];
  for (let start = 0; start < seen.length; start++) {
    if (seen[start] || !((map[start] as number) > textAbove)) {
      continue;
    }
    // All pixels of one blob; of each row only the ends matter for its hull.
    const ends = new Map<number, [number, number]>();
    let sum = 0;
    let count = 0;
    stack.push(start);
    seen[start] = 1;
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const x = at % width;
      const y = (at - x) / width;
      sum += map[at] as number;
      count++;
      const row = ends.get(y);
      if (row) {
        row[0] = Math.min(row[0], x);
        row[1] = Math.max(row[1], x);
      } else {
        ends.set(y, [x, x]);
      }
      for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
        for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
          const next = ny * width + nx;
          if (!seen[next] && (map[next] as number) > textAbove) {
            seen[next] = 1;
            stack.push(next);
          }
        }
      }
    }
    if (sum / count >= boxAbove) {
      const points = [...ends].flatMap(([y, [left, right]]) => [
        { x: left, y },
        { x: right + 1, y },
        { x: left, y: y + 1 },
        { x: right + 1, y: y + 1 },
      ]);
      const box = widen(smallestBox(hullOf(points)));
      if (box) {
        boxes.push(box);
      }
    }
  }
  return inOrder(boxes);
}

/** A rectangle that is turned: its middle, the direction of its width, and half of its sides. */
interface Box {
  readonly x: number;
  readonly y: number;
  readonly angle: number;
  readonly halfWidth: number;
  readonly halfHeight: number;
}

/** The smallest rectangle around a convex polygon: one of its sides lies on one of the polygon's. */
function smallestBox(hull: readonly Point[]): Box {
  let best: (Box & { area: number }) | undefined;
  for (const [index, from] of hull.entries()) {
    const to = hull[(index + 1) % hull.length] as Point;
    const angle = Math.atan2(to.y - from.y, to.x - from.x);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const { x, y } of hull) {
      const [u, v] = [x * cos + y * sin, y * cos - x * sin];
      [left, right] = [Math.min(left, u), Math.max(right, u)];
      [top, bottom] = [Math.min(top, v), Math.max(bottom, v)];
    }
    const area = (right - left) * (bottom - top);
    if (!best || area < best.area - 1e-6) {
      const [u, v] = [(left + right) / 2, (top + bottom) / 2];
      best = {
        area,
        angle,
        x: u * cos - v * sin,
        y: u * sin + v * cos,
        halfWidth: (right - left) / 2,
        halfHeight: (bottom - top) / 2,
      };
    }
  }
  return best as Box;
}

/** Widens a box as the detector was trained, and names its corners; undefined for noise. */
function widen({ x, y, angle, halfWidth, halfHeight }: Box): Corners | undefined {
  if (2 * Math.min(halfWidth, halfHeight) < leastSide) {
    return undefined;
  }
  const by = (widening * halfWidth * halfHeight) / (halfWidth + halfHeight);
  let [w, h, turn] = [halfWidth + by, halfHeight + by, angle];
  // A line runs along its longer side, and not upside down; a tall one runs down.
  const quarter = Math.PI / 2;
  turn = ((turn % Math.PI) + Math.PI) % Math.PI;
  if (turn > quarter / 2 && turn <= quarter * 1.5) {
    turn -= quarter;
    [w, h] = [h, w];
  } else if (turn > quarter * 1.5) {
    turn -= Math.PI;
  }
  if (h > 1.5 * w) {
    turn += quarter;
    [w, h] = [h, w];
  }
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const corner = (u: number, v: number) => ({
    x: x + u * w * cos - v * h * sin,
    y: y + u * w * sin + v * h * cos,
  });
  return [corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)];
}

/** From top to bottom, and in a row as the lines of a page follow each other. */
function inOrder(boxes: readonly Corners[]): Corners[] {
  const placed = boxes
    .map((box) => {
      const ys = box.map(({ y }) => y);
      const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
      return { box, middle: (top + bottom) / 2, height: bottom - top, left: box[0].x };
    })
    .sort((a, b) => a.middle - b.middle);
  const rows: (typeof placed)[] = [];
  for (const each of placed) {
    const row = rows.at(-1);
    const last = row?.at(-1);
    if (row && last && each.middle - last.middle < 0.4 * Math.min(each.height, last.height)) {
      row.push(each);
    } else {
      rows.push([each]);
    }
  }
  // Lines that run down follow each other from right to left.
  return rows.flatMap((row) => {
    const toRight = row.every(({ box }) => isTall(box)) ? -1 : 1;
    return row.sort((a, b) => toRight * (a.left - b.left)).map(({ box }) => box);
  });
}

/** True for a line that runs down. */
function isTall([start, end]: Corners): boolean {
  return end.y - start.y > Math.abs(end.x - start.x);
}

/** The convex hull of points. */
function hullOf(points: readonly Point[]): Point[] {
  const sorted = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
  const half = (of: readonly Point[]) => {
    const chain: Point[] = [];
    for (const point of of) {
      while (chain.length > 1 && !isLeft(chain.at(-2) as Point, chain.at(-1) as Point, point)) {
        chain.pop();
      }
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

function isLeft(a: Point, b: Point, c: Point): boolean {
  return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x) > 0;
}
