export * from "./photo_jetrpc.js";
export * from "./photo_pb.js";
export { PhotoService } from "./photo_jetrpc.js";
export { PrintService } from "./photo_jetrpc.js";
