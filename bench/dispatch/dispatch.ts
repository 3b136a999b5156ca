/**
 * One at a time: from the submission to the entry of the handler, in a worker of another process. Beside it, on the
 * same database and in turn, graphile-worker's addJob to the entry of its task.
 */
import { inTurn, type LatencySizes, oneAtATime, openDispatch } from '../support/one_at_a_time.ts';
import { openPeer, PEER_NAME } from '../support/peer.ts';
import { atMost, type Bench, latencyFigures } from '../support/report.ts';
import { medianOfRounds } from '../support/statistics.ts';

const SIZES: LatencySizes = { rounds: 5, perRound: 400, warmUp: 300 };
const SMOKE: LatencySizes = { rounds: 1, perRound: 20, warmUp: 5 };
const PEER_WORKER = new URL('./graphile.process.ts', import.meta.url);

export const dispatch: Bench = async (site, smoke) => {
  const yard = await site.openYard();
  const { databaseUrl } = yard;
  const measureOurs = await openDispatch(site, yard);
  const peerUtils = await openPeer(databaseUrl);
  const [peerWorker] = await site.start(PEER_WORKER, { databaseUrl });
  const measurePeer = oneAtATime(peerWorker, () => peerUtils.addJob());
  const [oursMs = [], peerMs = []] = await inTurn(site, smoke ? SMOKE : SIZES, [measureOurs, measurePeer]);
  await peerUtils.release();
  const ours = medianOfRounds(oursMs);
  const peer = medianOfRounds(peerMs);
  const ratios = { 'ratio p50': ours.p50 / peer.p50, 'ratio p99': ours.p99 / peer.p99 };
  return {
    figures: { ...latencyFigures('yardmaster', ours), ...latencyFigures(PEER_NAME, peer), ...ratios },
    targets: [atMost('p50 / peer', ratios['ratio p50'], 0.7), atMost('p99 / peer', ratios['ratio p99'], 1.0)],
  };
};
