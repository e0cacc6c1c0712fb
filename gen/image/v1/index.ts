export * from "./image_jetrpc.js";
export * from "./image_pb.js";
export { ImageService } from "./image_jetrpc.js";
