-- For ntlm.conf: clients without a version. MS-NLMP 2.2.1 has a field for it, and curl leaves it out.
-- Some releases of gss-ntlmssp, 1.2 among them, refuse such messages as undecodable: the first, because
-- it is shorter by that field, the third, because it repeats the server's flag for the field. So the
-- first gets an empty field and the third loses the flag. Messages with a version stay as they are.
require 'apache2'

local NEGOTIATE, AUTHENTICATE = 1, 3

-- Of bytes that are there: little-endian, from an offset that begins at 0.
local function number(message, offset, bytes)
    local value = 0
    for i = offset + bytes, offset + 1, -1 do
        value = value * 256 + message:byte(i)
    end
    return value
end

-- Where the first of the six fields stands that are not empty.
local function payload_begins(message)
    local first = #message
    for field = 12, 52, 8 do
        if number(message, field, 2) > 0 then
            first = math.min(first, number(message, field + 4, 4))
        end
    end
    return first
end

local function with_version(message)
    if #message < 32 or message:sub(1, 8) ~= 'NTLMSSP\0' then
        return message
    end
    local kind = number(message, 8, 4)
    if kind == NEGOTIATE and #message < 40 then
        return message .. ('\0'):rep(40 - #message)
    end
    if kind == AUTHENTICATE and #message >= 64 and payload_begins(message) < 72 then
        -- NTLMSSP_NEGOTIATE_VERSION is 0x02000000 of the flags at 60.
        local flags = message:byte(64)
        if flags % 4 >= 2 then
            return message:sub(1, 63) .. string.char(flags - 2) .. message:sub(65)
        end
    end
    return message
end

-- mod_lua leaves out a zero byte at the end.
local function decoded(r, text)
    local _, padding = text:gsub('=', '')
    local message = r:base64_decode(text)

    return message .. ('\0'):rep(#text / 4 * 3 - padding - #message)
end

function complete(r)
    local credentials = r.headers_in['Authorization']
    local text = credentials and credentials:match('^NTLM%s+([%w+/]+=?=?)%s*$')

    if text and #text % 4 == 0 then
        r.headers_in['Authorization'] = 'NTLM ' .. r:base64_encode(with_version(decoded(r, text)))
    end
    return apache2.DECLINED
end
