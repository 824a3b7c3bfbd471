"""Where stock nbgrader finds the course: its source is `solutions/`, its release `labs/`."""

c = get_config()  # noqa: F821 (nbgrader defines it)

c.CourseDirectory.course_id = "lecturekit"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
c.ExecutePreprocessor.timeout = 180  # seconds for a cell: the training cells need some ten
c.GenerateFeedback.preprocessors = [  # nbgrader's own, and between them ours, since rubrics are for graders alone
    "nbgrader.preprocessors.GetGrades",
    "autograder.term.hand.WithoutRubrics",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
