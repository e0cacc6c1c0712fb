export { type DecodeOptions, decode } from "./decode.js";
export { type EncodeOptions, encode } from "./encode.js";
