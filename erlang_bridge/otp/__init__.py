"""OTP's behaviours: servers, supervisors, system messages, crash reports."""
