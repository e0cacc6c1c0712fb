/**
 * The parts that the worker processes of services/ share.
 *
 * @module
 */
export { largestSides } from "./largest-sides.js";
export { runProcess } from "./run-process.js";
export { checkWholeNumbers, readWholeNumber } from "./whole-number.js";
