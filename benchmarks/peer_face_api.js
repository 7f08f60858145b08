// What face-api says of pictures and the CPU seconds it takes; run by node with the packages in the folder NODE_PATH names.
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');
const sharp = require('sharp');

const WARM_UP = 20;

async function main(size, list) {
  const packages = process.env.NODE_PATH;
  sharp.concurrency(1);
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(path.join(packages, '@tensorflow/tfjs-backend-wasm/dist/'));
  await tf.setBackend('wasm');
  await tf.ready();
  const models = path.join(packages, '@vladmandic/face-api/model');
  await faceapi.nets.tinyFaceDetector.loadFromDisk(models);
  await faceapi.nets.ageGenderNet.loadFromDisk(models);
  const options = new faceapi.TinyFaceDetectorOptions({ inputSize: size });

  async function ask(file) {
    const { data, info } = await sharp(fs.readFileSync(file)).removeAlpha().toColourspace('srgb').raw()
      .toBuffer({ resolveWithObject: true });
    const pixels = tf.tensor3d(new Uint8Array(data), [info.height, info.width, 3], 'int32');
    const found = await faceapi.detectSingleFace(pixels, options).withAgeAndGender();
    pixels.dispose();
    return found ? [found.gender, found.age] : null;
  }

  const files = fs.readFileSync(list, 'utf8').split('\n').filter(Boolean);
  for (const file of files.slice(0, WARM_UP)) await ask(file);
  const before = process.cpuUsage();
  const answers = [];
  for (const file of files) answers.push(await ask(file));
  const used = process.cpuUsage(before);
  console.log(JSON.stringify({ seconds: (used.user + used.system) / 1e6, answers }));
}

main(Number(process.argv[2]), process.argv[3]);
