export * from "./weather_jetrpc.js";
export * from "./weather_pb.js";
export { WeatherService } from "./weather_jetrpc.js";
