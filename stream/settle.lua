#!lua
-- Settles one batch of one partition: all of it or nothing, and once. The fence `next` decides.
--
-- KEYS[1]  the fence; all other keys share its prefix and so its slot
-- ARGV[1]  a MessagePack map:
--            position, end      the offsets [position, end) that the batch covers
--            events             {{offset, event JSON}, ...}, ascending
--            buckets            {suffix = {field, increment, field, increment, ...}}
--            authors            {suffix of their bucket = {pseudonym, ...}}
--            communities        {community = newest event minute}
--            keep               {events = length, m = seconds, h = seconds}
-- Returns {"applied" | "settled" | "moved", the fence afterwards or -1 where there is none}.

local batch = cmsgpack.unpack(ARGV[1])
local fence = tonumber(redis.call('HGET', KEYS[1], 'next') or -1)

if fence >= batch['end'] then return {'settled', fence} end
if fence ~= batch.position then return {'moved', fence} end

local root = string.sub(KEYS[1], 1, -6)  -- without "fence"
local ttl = {m = batch.keep.m, am = batch.keep.m, h = batch.keep.h, a = batch.keep.h}

local function expire(suffix)
  redis.call('EXPIRE', root .. suffix, ttl[string.match(suffix, '^(%a+):')])
end

-- Events first: XADD is the only command that can refuse (an ID not above the last), and then nothing is written.
for _, event in ipairs(batch.events) do
  redis.call('XADD', root .. 'events', string.format('%.0f-1', event[1]), 'event', event[2])
end
if #batch.events > 0 then redis.call('XTRIM', root .. 'events', 'MAXLEN', '~', batch.keep.events) end

for suffix, fields in pairs(batch.buckets) do
  for i = 1, #fields, 2 do redis.call('HINCRBY', root .. suffix, fields[i], string.format('%.0f', fields[i + 1])) end
  redis.call('ZADD', root .. 'changed', batch['end'], suffix)
  expire(suffix)
end
for bucket, pseudonyms in pairs(batch.authors) do
  local suffix = string.gsub(bucket, '^%a+', {m = 'am', h = 'a'}, 1)
  for i = 1, #pseudonyms, 1000 do  -- Lua's stack bounds what one call can take
    redis.call('PFADD', root .. suffix, unpack(pseudonyms, i, math.min(i + 999, #pseudonyms)))
  end
  expire(suffix)
end
for community, minute in pairs(batch.communities) do
  redis.call('ZADD', root .. 'communities', 'GT', minute, community)
end

redis.call('HSET', KEYS[1], 'next', string.format('%.0f', batch['end']))
return {'applied', batch['end']}
