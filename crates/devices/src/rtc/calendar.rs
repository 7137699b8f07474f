//! Dates and seconds since 1970, in the proleptic Gregorian calendar.

/// A date and a time of day, as the registers of the clock hold them (but binary, and with 24 hours).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calendar {
    /// 0 to 9999.
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

pub(super) const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
/// Days in 400 years.
const DAYS_PER_ERA: i64 = 146_097;

/// 0000-01-01 00:00:00.
pub(super) const FIRST: i64 = -62_167_219_200;
/// 9999-12-31 23:59:59.
pub(super) const LAST: i64 = 253_402_300_799;

/// Days since 1970, counted from 0 on a Thursday.
pub(super) fn day_number(seconds: i64) -> i64 {
    seconds.div_euclid(SECONDS_PER_DAY)
}

impl Calendar {
    /// The date of `seconds` since 1970. After 9999 comes the year 0.
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let time = seconds.rem_euclid(SECONDS_PER_DAY);
        // Years that begin in March have their leap day at the end, and months of a fixed pattern.
        let days = day_number(seconds) + DAYS_TO_1970;
        let era = days.div_euclid(DAYS_PER_ERA);
        let day_of_era = days.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self {
            year: year.rem_euclid(10_000),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }

    /// Seconds since 1970. Fields that are out of range are taken as the nearest that is in it: the chip would count on from nonsense.
    pub(super) fn to_seconds(self) -> i64 {
        let Self { year, month, day, hour, minute, second } = self;
        let year = year.clamp(0, 9999);
        let month = month.clamp(1, 12);
        let day = day.clamp(1, days_in(year, month));
        let march_year = year - i64::from(month <= 2);
        let era = march_year.div_euclid(400);
        let year_of_era = march_year.rem_euclid(400);
        let march_month = (month + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
        days * SECONDS_PER_DAY + hour.clamp(0, 23) * 3600 + minute.clamp(0, 59) * 60 + second.clamp(0, 59)
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, year, month, day, hour, minute, second) in [
            (0, 1970, 1, 1, 0, 0, 0),
            (951_782_399, 2000, 2, 28, 23, 59, 59),
            (951_782_400, 2000, 2, 29, 0, 0, 0),
            (1_735_689_600, 2025, 1, 1, 0, 0, 0),
            (4_107_542_400, 2100, 3, 1, 0, 0, 0),
            (-1, 1969, 12, 31, 23, 59, 59),
            (FIRST, 0, 1, 1, 0, 0, 0),
            (LAST, 9999, 12, 31, 23, 59, 59),
        ] {
            let date = Calendar { year, month, day, hour, minute, second };
            assert_eq!(Calendar::from_seconds(seconds), date);
            assert_eq!(date.to_seconds(), seconds);
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_comes_back() {
        let mut before = None;
        for day in day_number(FIRST)..=day_number(LAST) {
            let seconds = day * SECONDS_PER_DAY + day.rem_euclid(SECONDS_PER_DAY);
            let date = Calendar::from_seconds(seconds);
            assert_eq!(date.to_seconds(), seconds, "{date:?}");
            let expected = before.map_or(1, |before: Calendar| {
                if before.day == days_in(before.year, before.month) { 1 } else { before.day + 1 }
            });
            assert_eq!(date.day, expected, "{date:?}");
            before = Some(date);
        }
    }

    #[test]
    fn nonsense_becomes_the_nearest_date() {
        for (year, month, day, nearest) in
            [(2023, 2, 31, 28), (2024, 2, 31, 29), (2024, 4, 99, 30), (2024, 1, 0, 1)]
        {
            let nonsense = Calendar { year, month, day, hour: 99, minute: 99, second: 99 };
            let expected = Calendar { day: nearest, hour: 23, minute: 59, second: 59, ..nonsense };
            assert_eq!(Calendar::from_seconds(nonsense.to_seconds()), expected);
        }
        assert_eq!(Calendar::from_seconds(LAST + 1).year, 0);
    }
}
