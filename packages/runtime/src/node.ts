/**
 * The runtime of jetrpc for Node: connections from the environment, and workers
 * that end with their process.
 *
 * @module
 */
export { type ConnectOptions, connect } from "./node/connect.js";
export { type Environment, readEnvironment } from "./node/environment.js";
export { fileBlob, saveBlob } from "./node/file-blob.js";
export { type ServeOptions, serve } from "./node/serve.js";
export { attachUploads, type BlobUpload, openUpload, readBlob } from "./node/transfer-blobs.js";
export type { StoredObject } from "./objects/object-writer.js";
