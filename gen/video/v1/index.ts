export * from "./video_jetrpc.js";
export * from "./video_pb.js";
export { VideoService } from "./video_jetrpc.js";
