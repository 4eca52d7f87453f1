#!lua
-- Writes all that judging up to one minute changed, or nothing: only the holder of the lease may, and only on
-- top of the minute it began from. So an alert's change is published once, whoever crashes or sleeps.
--
-- KEYS  lease, tracks, status, alerts, outbox
-- ARGV  token, the minute begun from ('' for none), a MessagePack map:
--         status  {field = value}, the new minute among them
--         tracks  {track = JSON, or false to forget}
--         alerts  {JSON, ...}
--         outbox  {{channel, JSON}, ...}
--         keep    length of the alerts stream
-- Returns 1 if written, 0 if another replica leads.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if (redis.call('HGET', KEYS[3], 'minute') or '') ~= ARGV[2] then return 0 end

local change = cmsgpack.unpack(ARGV[3])
for track, json in pairs(change.tracks) do
  if json then redis.call('HSET', KEYS[2], track, json) else redis.call('HDEL', KEYS[2], track) end
end
for _, json in ipairs(change.alerts) do
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', change.keep, '*', 'alert', json)
end
for _, message in ipairs(change.outbox) do
  redis.call('XADD', KEYS[5], '*', 'channel', message[1], 'alert', message[2])
end
for field, value in pairs(change.status) do redis.call('HSET', KEYS[3], field, value) end
return 1
