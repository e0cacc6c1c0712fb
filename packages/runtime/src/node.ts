/**
 * The runtime of jetrpc for Node: connections from the environment, and workers
 * that end with their process.
 *
 * @module
 */
export { type ConnectOptions, connect } from "./node/connect.js";
export type { Environment } from "./node/environment.js";
export { fileBlob, saveBlob } from "./node/file-blob.js";
export { type ServeOptions, serve } from "./node/serve.js";
